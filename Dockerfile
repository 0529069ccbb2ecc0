# The demo for any container host: docker build -t retinex . && docker run -p 7860:7860 retinex
# On a GPU: docker build --build-arg EXTRA=[gpu] -t retinex . && docker run --gpus all -p 7860:7860 retinex
FROM python:3.12-slim

ARG EXTRA=""
WORKDIR /app
RUN useradd --create-home demo
COPY pyproject.toml requirements.txt README.md LICENSE ./
COPY retinex ./retinex
COPY onnx_models ./onnx_models
# requirements.txt names the gradio that is tested; the demo relies on more than its interface.
RUN pip install --no-cache-dir --editable ".${EXTRA}" "$(grep ^gradio requirements.txt)"
COPY demo.py demo.css demo.js ./
COPY examples ./examples
USER demo
ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860
EXPOSE 7860
CMD ["python", "demo.py"]

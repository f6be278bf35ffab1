# The service with the compact model, on the CPU:
#
#     docker build --tag clipn .
#     docker run --rm --publish 127.0.0.1:8000:8000 --env CLIPN_TOKEN=secret clipn
#
# Other models and options follow the name of the image:
#
#     docker run ... clipn --classes "tabby cat, espresso" --detector /data/my-detector

FROM python:3.11-slim AS build

WORKDIR /build
RUN pip install --no-cache-dir uv==0.13.9 hatchling==1.33.0
COPY pyproject.toml README.md LICENSE ./
COPY src src
# PyTorch's CPU build: its CUDA libraries alone would take more than 4 GB.
RUN python -m hatchling build --target wheel --directory dist \
    && uv venv /opt/clipn \
    && uv pip install --python /opt/clipn/bin/python --no-cache --torch-backend cpu \
        "clipn[serve] @ file://$(ls /build/dist/*.whl)"

FROM python:3.11-slim

RUN useradd --create-home --uid 10001 clipn
COPY --from=build /opt/clipn /opt/clipn
USER 10001
WORKDIR /home/clipn
# Weights that a name or the hub brings are kept below; mount a volume there to keep them for good.
ENV PATH=/opt/clipn/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/home/clipn/cache \
    CLIPN_CACHE=/home/clipn/cache/clipn
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# exec form: SIGTERM reaches the service, which answers what it has taken and ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["clipn", "serve", "--host", "0.0.0.0", "--port", "8000"]

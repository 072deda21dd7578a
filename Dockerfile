# fm_lingvo on the CPU:  docker build -t fm_lingvo .
#   docker run --rm -v "$PWD:/work" fm_lingvo trainer --model=asr.BestRqPretrain --logdir=runs/first
# Stage `build` installs the locked packages and the wheel into /opt/venv; the image has that folder and Python alone.
FROM debian:13-slim AS build
RUN apt-get update \
  && apt-get install -y --no-install-recommends python3 python3-venv \
  && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
WORKDIR /source
COPY requirements/current.txt requirements/
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes -r requirements/current.txt
COPY pyproject.toml setup.py requirements.txt LICENSE ./
COPY fm_lingvo fm_lingvo
COPY params params
COPY tools tools
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM debian:13-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates python3 \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home --uid 1000 fm \
  && install -d -o fm -g fm /work
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
USER 1000
WORKDIR /work
CMD ["trainer", "--help"]

# The image that deploy/kubernetes names: coordinator, agent and command line.
#
#     docker build -t registry.example.com/primacy:0.1.0 .
#
# The first stage has what a build needs (it fetches Node.js for the dashboard by itself); the second one only Python.
# In place of PYTHON use whatever your own base images are, as long as both stages have the same.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
WORKDIR /src
COPY . .
# 1: no image without a dashboard.
ENV PRIMACY_BUILD_DASHBOARD=1
RUN python -m venv /opt/primacy \
    && /opt/primacy/bin/python -m pip install --no-cache-dir --disable-pip-version-check . \
    && /opt/primacy/bin/primacy --version

FROM ${PYTHON}
# The manifests mount folders for this user at /var/lib/primacy; nothing else of the image need be writable.
RUN useradd --system --uid 7400 --user-group --home-dir /var/lib/primacy --create-home primacy
COPY --from=build /opt/primacy /opt/primacy
ENV PATH=/opt/primacy/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 7400:7400
# 7400 and 7480: the coordinator's gRPC and HTTP; 7410 and 7490: an agent's.
EXPOSE 7400 7480 7410 7490
# Or primacy-agent, primacy-coordinator.
CMD ["primacy", "--help"]

# The page and the API, without a framework: docker build -t diptych . && docker run -p 8000:8000 diptych
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --prefix=/installed '.[serve]'

FROM python:3.12-slim
COPY --from=build /installed /usr/local
RUN useradd --create-home diptych
USER diptych
WORKDIR /home/diptych
EXPOSE 8000
# Inside of a container the page must listen on all addresses; publish the port as you like.
ENTRYPOINT ["diptych"]
CMD ["serve", "--host", "0.0.0.0", "--insecure"]

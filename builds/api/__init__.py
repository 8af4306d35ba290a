"""The JSON API under `/api/`: a thin edge on `builds.services`, described by `openapi.json`."""

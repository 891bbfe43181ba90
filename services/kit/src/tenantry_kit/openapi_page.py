"""Swagger UI at `/docs`, with every asset from this process: it works where there is no internet."""

from importlib import resources
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles


def add_openapi_page(app: FastAPI) -> None:
    """Serve the page, and its assets from the package `fastapi-offline` under `/docs-assets`."""
    assets = Path(str(resources.files("fastapi_offline"))) / "static"
    app.mount("/docs-assets", StaticFiles(directory=assets), name="docs-assets")

    # The addresses are relative, so that the page also works behind a gateway that adds a prefix.
    @app.get("/docs", include_in_schema=False)
    async def swagger_ui() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=app.title,
            swagger_js_url="docs-assets/swagger-ui-bundle.js",
            swagger_css_url="docs-assets/swagger-ui.css",
            swagger_favicon_url="docs-assets/favicon.png",
        )

"""The plugin for MkDocs shows a user's models on the user's site."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MODELS = """
from pydantic import BaseModel
from relay_models import Column, Document, Run, column, metadata

class Part(BaseModel):
    name: str

class Ticket(Document, key="number"):
    \"\"\"What a customer asked.\"\"\"
    number: Column[int] = column("Its number.")
    größe: Column[float | None] = column("How large it is.", unit="MB")
    parts: list[Part] = []

class Plain(Document):
    name: Column[str] = column()

class AcmeRun(Run):
    tenant: Column[str | None] = column("Whose run it is.", value=metadata("tenant"))
"""
NAV = "nav: [{Home: index.md}]\n"


def build(site: Path, options: str, *, nav: str = "") -> subprocess.CompletedProcess[str]:
    """Build a site with the plugin."""
    (site / "docs").mkdir()
    (site / "docs" / "index.md").write_text("# Acme", encoding="utf-8")
    (site / "shop_models.py").write_text(MODELS, encoding="utf-8")
    config = f"site_name: Acme\ntheme: mkdocs\n{nav}plugins:\n  - relay-models:\n      {options}\n"
    (site / "mkdocs.yml").write_text(config, encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", str(site / "mkdocs.yml")]
    return subprocess.run(command, capture_output=True, text=True, cwd=site.parent, check=False)


def test_models_are_pages_of_a_site(tmp_path: Path) -> None:
    built = build(tmp_path, "models: [shop_models]\n      title: What we store", nav=NAV)
    assert built.returncode == 0, built.stderr
    pages = tmp_path / "site" / "schema"
    overview = (pages / "index.html").read_text(encoding="utf-8")
    for part in ("What we store", "What a customer asked.", "@model:ticket:{pk}", 'href="ticket/"', 'href="run/"'):
        assert part in overview
    ticket = (pages / "ticket" / "index.html").read_text(encoding="utf-8")
    for part in ("How large it is.", "größe", "MB", "Its number.", 'href="#part"', "ticket.schema.json", "FT.CREATE"):
        assert part in ticket
    plain = (pages / "plain" / "index.html").read_text(encoding="utf-8")
    assert "What all document types share" not in plain + overview, "the docstring of the base is not the model's"
    assert "Usage Documentation" not in ticket
    assert "Whose run it is." in (pages / "run" / "index.html").read_text(encoding="utf-8")
    schema = json.loads((pages / "ticket.schema.json").read_text(encoding="utf-8"))
    assert schema["properties"]["größe"]["description"] == "How large it is."
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "schema/ticket/" in home, "the navigation leads to the pages"
    assert not (pages / "plan").exists()


def test_options_and_what_cannot_be_built(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    built = build(tmp_path / "one", "{models: [shop_models], folder: data/model, built_in: true, json_schema: false}")
    assert built.returncode == 0, built.stderr
    pages = tmp_path / "one" / "site" / "data" / "model"
    assert (pages / "plan" / "index.html").exists()
    assert not list(pages.glob("*.json"))
    built = build(tmp_path / "two", "models: [nothing_here]")
    assert built.returncode != 0
    assert "relay-models: models: 'nothing_here' cannot be imported" in built.stderr
    assert "Traceback" not in built.stderr

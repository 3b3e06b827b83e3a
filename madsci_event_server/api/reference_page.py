"""The OpenAPI document as a page: every route, its parameters, examples, and a way to try it. No file but this one."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: HTTP reference</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; --line: color-mix(in srgb, currentColor 16%, transparent);
  --soft: color-mix(in srgb, currentColor 5%, transparent); --mono: ui-monospace, Menlo, Consolas, monospace; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0; display: grid;
  grid-template-columns: 19rem minmax(0, 52rem); }}
nav {{ position: sticky; top: 0; height: 100vh; overflow-y: auto; box-sizing: border-box; padding: 1.5rem 1rem;
  border-right: 1px solid var(--line); font-size: .9rem; }}
nav h3 {{ font-size: .75rem; text-transform: uppercase; letter-spacing: .06em; opacity: .6; margin: 1.25rem 0 .25rem; }}
nav a {{ display: flex; text-decoration: none; color: inherit; padding: .1rem 0; font-family: var(--mono);
  font-size: .8rem; overflow-wrap: anywhere; }}
nav .verb {{ flex: none; }}
nav a:hover {{ text-decoration: underline; }}
main {{ padding: 1.5rem 2rem 6rem; }}
h1 {{ font-size: 1.5rem; margin: 0 0 .25rem; }}
h2 {{ font-size: 1.05rem; margin: 3rem 0 .25rem; padding-top: 1rem; border-top: 1px solid var(--line);
  font-family: var(--mono); overflow-wrap: anywhere; }}
h4 {{ font-size: .75rem; text-transform: uppercase; letter-spacing: .06em; opacity: .6; margin: 1.25rem 0 .35rem; }}
.verb {{ display: inline-block; min-width: 3.6rem; font-weight: 700; }}
.get {{ color: light-dark(#1a6b3c, #7bd88f); }} .post {{ color: light-dark(#1d4f91, #78b7ff); }}
.delete {{ color: light-dark(#a32020, #ff8f8f); }}
table {{ border-collapse: collapse; width: 100%; font-size: .9rem; }}
td, th {{ text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); }}
td:first-child, code, pre, textarea, input {{ font-family: var(--mono); font-size: .82rem; }}
td small {{ opacity: .65; }}
pre, textarea {{ background: var(--soft); border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .8rem;
  margin: .25rem 0; overflow-x: auto; white-space: pre; }}
textarea {{ width: 100%; box-sizing: border-box; color: inherit; resize: vertical; }}
summary {{ cursor: pointer; font-size: .9rem; padding: .15rem 0; }}
form {{ display: flex; gap: .5rem; margin: .25rem 0; }}
input {{ flex: 1; padding: .35rem .6rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--soft);
  color: inherit; min-width: 0; }}
button, select {{ padding: .35rem .9rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--soft);
  color: inherit; cursor: pointer; font: inherit; font-size: .85rem; }}
@media (max-width: 48rem) {{ body {{ display: block; }} nav {{ position: static; height: auto; border: 0; }}
  main {{ padding: 1rem; }} }}
</style>
</head>
<body>
<nav><strong>{title}</strong><br>{version}{links}</nav>
<main>
<h1>{title}</h1>
<p>{description}</p>
<p>For machines: <a href="/openapi.json">openapi.json</a></p>
{operations}
</main>
<script>
for (const form of document.querySelectorAll("form")) {{
  const body = form.parentElement.querySelector("textarea");
  const shown = form.parentElement.querySelector("output pre");
  form.addEventListener("submit", async (event) => {{
    event.preventDefault();
    shown.hidden = false;
    shown.textContent = "...";
    try {{
      const sent = {{ method: form.dataset.method }};
      if (body) sent.body = body.value;
      const answer = await fetch(form.elements.url.value, sent);
      let text = await answer.text();
      try {{ text = JSON.stringify(JSON.parse(text), null, 2); }} catch {{}}
      shown.textContent = answer.status + " " + answer.statusText + "\\n" + text.slice(0, 20000);
    }} catch (error) {{ shown.textContent = String(error); }}
  }});
  const choice = form.parentElement.querySelector("select");
  if (choice) choice.addEventListener("change", () => {{ body.value = choice.value; }});
}}
</script>
</body>
</html>
"""


def reference_page(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document."""
    operations = list(_operations(document))
    return _PAGE.format(
        title=escape(document["info"]["title"]),
        version=escape(document["info"]["version"]),
        description=escape(document["info"]["description"]),
        links=_links(operations),
        operations="\n".join(_operation(*operation) for operation in operations),
    )


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, entry in methods.items():
            yield method, path, entry


def _links(operations: list[tuple[str, str, Mapping[str, Any]]]) -> str:
    found: dict[str, list[str]] = {}
    for method, path, entry in operations:
        link = f'<a href="#{_anchor(method, path)}">{_verb(method)} {escape(path)}</a>'
        found.setdefault(entry["tags"][0], []).append(link)
    return "".join(f"<h3>{escape(tag)}</h3>{''.join(links)}" for tag, links in found.items())


def _operation(method: str, path: str, entry: Mapping[str, Any]) -> str:
    return "\n".join(
        [
            f'<section id="{_anchor(method, path)}"><h2>{_verb(method)} {escape(path)}</h2>',
            f"<p>{_prose(entry.get('description', ''))}</p>",
            _parameters(entry.get("parameters", [])),
            _try_it(method, path, entry),
            "<h4>Answers</h4>",
            *(_response(status, response) for status, response in entry["responses"].items()),
            "</section>",
        ]
    )


def _parameters(parameters: list[Mapping[str, Any]]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td>{escape(parameter['name'])}</td><td>{_prose(parameter.get('description', 'in the path'))}"
        f" <small>{escape(_kind(parameter['schema']))}{', required' * parameter['required']}</small></td></tr>"
        for parameter in parameters
    )
    return f"<details open><summary>Parameters</summary><table>{rows}</table></details>"


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        kind = " | ".join(map(str, schema["enum"]))
    elif schema.get("type") == "array":
        kind = f"{_kind(schema['items'])}, repeatable"
    else:
        kind = str(schema.get("type", "any"))
    return kind + (f", default {json.dumps(schema['default'])}" if "default" in schema else "")


def _try_it(method: str, path: str, entry: Mapping[str, Any]) -> str:
    body = entry.get("requestBody")
    examples = {} if body is None else body["content"]["application/json"]["examples"]
    texts = {name: json.dumps(example["value"], indent=2) for name, example in examples.items()}
    first = next(iter(texts.values()), "")
    parts = ["<h4>Try it</h4><div>"]
    if body is not None:
        options = "".join(f'<option value="{escape(text)}">{escape(name)}</option>' for name, text in texts.items())
        parts.append(f"<p>{_prose(body['description'])}. <select>{options}</select></p>")
        parts.append(f'<textarea rows="{first.count(chr(10)) + 1}" spellcheck="false">{escape(first)}</textarea>')
    url = escape(path.split("{", 1)[0] + ("01M84W00C21SPHKDZ53DPXVAZS" if "{" in path else ""))
    parts.append(
        f'<form data-method="{method.upper()}"><input name="url" value="{url}" spellcheck="false">'
        f"<button>{method.upper()}</button></form><output><pre hidden></pre></output></div>"
    )
    return "".join(parts)


def _response(status: str, response: Mapping[str, Any]) -> str:
    content = response.get("content", {}).get("application/json", {})
    headers = "".join(
        f"<tr><td>{escape(name)}</td><td>{_prose(header['description'])}</td></tr>"
        for name, header in response.get("headers", {}).items()
    )
    example = f"<pre>{escape(json.dumps(content['example'], indent=2))}</pre>" if "example" in content else ""
    opened = " open" if status == "200" else ""
    return (
        f"<details{opened}><summary><strong>{status}</strong> {_prose(response['description'])}</summary>"
        f"{f'<table>{headers}</table>' if headers else ''}{example}</details>"
    )


def _verb(method: str) -> str:
    return f'<span class="verb {method}">{method.upper()}</span>'


def _anchor(method: str, path: str) -> str:
    return escape(f"{method}{path}".replace("/", "-").replace("{", "").replace("}", ""))


def _prose(text: str) -> str:
    """Text with `code` in it."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))

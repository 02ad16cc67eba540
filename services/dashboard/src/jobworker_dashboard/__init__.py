"""The dashboard: serves the web page and passes its calls on to a jobworkerd server."""

"""`report.html`: one page that shows how a model came to be and what it can do; no script, nothing loaded."""

"""One reader per log format: `sniff` recognises a file by its content, `read` yields its rows."""

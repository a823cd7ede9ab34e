"""Explorer: a page in the browser with sliders, served from this machine or written as one file."""

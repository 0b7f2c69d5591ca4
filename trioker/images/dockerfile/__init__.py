"""The language of Dockerfiles: text in, values out. No I/O; what the values do is images/build's business."""

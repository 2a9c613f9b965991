"""Comparers: processes that compare frames with golden images, where one of Python's is not enough."""

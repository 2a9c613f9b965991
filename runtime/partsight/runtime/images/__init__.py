"""Images: reading image files, listing folders of them, checking frames, and preprocessing.

Training, export and the line share the one `preprocess` of this room. May import `core`.
"""

from partsight.runtime.images.frame_fault import check_batch
from partsight.runtime.images.header import READ_FORMATS, has_too_many_scans, size_of
from partsight.runtime.images.image_file import MAX_PIXELS, ImageFiles, decode_image, read_image
from partsight.runtime.images.listing import Listing, label_of, list_folder, list_images
from partsight.runtime.images.members import Member, list_members
from partsight.runtime.images.mistaken_path import describe_mistake
from partsight.runtime.images.preprocessing import (
    PreprocessSpec,
    Region,
    check_frame,
    check_frames,
    check_size,
    checked_frames,
    preprocess,
    preprocess_into,
    preprocess_sizes,
    resize,
    second_step,
)

__all__ = [
    "MAX_PIXELS",
    "READ_FORMATS",
    "ImageFiles",
    "Listing",
    "Member",
    "PreprocessSpec",
    "Region",
    "check_batch",
    "check_frame",
    "check_frames",
    "check_size",
    "checked_frames",
    "decode_image",
    "describe_mistake",
    "has_too_many_scans",
    "label_of",
    "list_folder",
    "list_images",
    "list_members",
    "preprocess",
    "preprocess_into",
    "preprocess_sizes",
    "read_image",
    "resize",
    "second_step",
    "size_of",
]

"""Readers of image sets: folders, list files, Parquet, torchvision's data sets, tars."""

from clipn.data.image_set import ImageSet
from clipn.data.image_set_files import FolderLayout, read_folder, read_list_file
from clipn.data.image_set_tables import read_parquet
from clipn.data.image_set_tars import TarLabels, read_tars
from clipn.data.image_set_torchvision import IndexedImages, read_torchvision

__all__ = [
    "FolderLayout",
    "ImageSet",
    "IndexedImages",
    "TarLabels",
    "read_folder",
    "read_list_file",
    "read_parquet",
    "read_tars",
    "read_torchvision",
]

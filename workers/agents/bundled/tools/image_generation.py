"""Images by the provider."""

from models.platform.settings import settings
from workers.agents.declarations import Tool

COMPRESSION = settings.image_default_compression
IS_COMPRESSED = COMPRESSION is not None and settings.image_default_format != "png"  # which has no such thing

TOOL = Tool(
    "image_generation",
    "image",
    "Makes images.",
    hosted={
        "type": "image_generation",
        "size": settings.image_default_size,
        "quality": settings.image_default_quality,
        "output_format": settings.image_default_format,
        "background": settings.image_default_background,
        "partial_images": settings.image_max_partial_images,
        **({"output_compression": COMPRESSION} if IS_COMPRESSED else {}),
    },
    optional=True,
)

"""The image's own tests are only collected where there is an image: `make test-image`."""

from lab.kubernetes.small import image

collect_ignore = [] if image.given() else ["test_image.py"]

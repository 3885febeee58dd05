"""What all know of pixels and their labels, whatever set they come from."""

# ImageNet's channel means and standard deviations, of pixels in [0, 1]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

IGNORED = 255  # label of a pixel that has none

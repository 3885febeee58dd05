"""Figure 9: what the class token attends to in random crops."""

from cae.reporting.figures import figure6

CAPTION = """The attention maps, as in Figure 6, over randomly cropped images. Under each row, over a random crop of each image
    of the validation set: the mass outside of the crop's central half, outside of the central half of the image that it
    was cut from, and on objects, each beside the area, which is what uniform attention would give."""

draw = figure6.draw

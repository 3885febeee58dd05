"""Figure 7: what the cross-attention of attentive probing attends to."""

from cae.reporting.figures import figure6

CAPTION = """The cross-attention unit in attentive probing. Top: images; below: the cross-attention between the extra class token
    and the patches, averaged over heads, in multiples of uniform attention. The region inside the blue contour is the
    smallest that keeps 50 % of the mass. Under the row the same numbers as in Figure 6."""

draw = figure6.draw

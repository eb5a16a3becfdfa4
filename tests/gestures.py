"""What a hand does on a page in a browser under test."""


def drag_divider(tab, slider) -> None:
    """From the middle of a slider to three quarters: by a finger on a phone (``tab.phone``), else by the mouse."""
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    if tab.phone:
        send = tab.context.new_cdp_session(tab).send
        for kind, share in (("touchStart", 0.5), ("touchMove", 0.6), ("touchMove", 0.75)):
            points = [{"x": box["x"] + share * box["width"], "y": middle}]
            send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    else:
        tab.mouse.move(box["x"] + box["width"] / 2, middle)
        tab.mouse.down()
        tab.mouse.move(box["x"] + 0.75 * box["width"], middle, steps=3)
        tab.mouse.up()

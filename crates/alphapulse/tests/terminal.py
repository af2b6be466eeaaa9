#!/usr/bin/env python3
"""Runs a program in a terminal of 80 columns and 24 lines, waits until its screen shows all of the given words, presses a
key, and prints how it ended.

usage: terminal.py KEY WORD... -- PROGRAM ARGUMENT...

Prints a line of JSON: status, screen (the lines as they stood when all words were there), restored (the program left the
alternate screen and showed the cursor again). Exit status 1 when the words do not come within 60 seconds.
"""
import fcntl, json, os, pty, re, select, signal, struct, sys, termios, time

COLUMNS, LINES, PATIENCE_S = 80, 24, 60
TOKEN = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|\x1b[()][A-B0]|\x1b[=>78]|([^\x1b])")


class Screen:
    """As much of a terminal as the program needs: cursor moves, erasing, text."""

    def __init__(self):
        self.cells = [[" "] * COLUMNS for _ in range(LINES)]
        self.x = self.y = 0

    def feed(self, text):
        for match in TOKEN.finditer(text):
            private, numbers, final, plain = match.groups()
            if plain is not None:
                self.put(plain)
            elif final and not private:
                self.control([int(n or 0) for n in numbers.split(";")], final)

    def put(self, character):
        if character == "\r":
            self.x = 0
        elif character == "\n":
            self.y = min(self.y + 1, LINES - 1)
        elif self.x < COLUMNS:
            self.cells[self.y][self.x] = character
            self.x += 1

    def control(self, numbers, final):
        first = numbers[0] if numbers else 0
        if final in "Hf":
            self.y = min(max(first, 1), LINES) - 1
            self.x = min(max(numbers[1] if len(numbers) > 1 else 1, 1), COLUMNS) - 1
        elif final == "J" and first == 2:
            self.cells = [[" "] * COLUMNS for _ in range(LINES)]
        elif final == "C":
            self.x = min(self.x + max(first, 1), COLUMNS - 1)

    def lines(self):
        return ["".join(row).rstrip() for row in self.cells]


def main():
    split = sys.argv.index("--")
    key, words, command = sys.argv[1], sys.argv[2:split], sys.argv[split + 1 :]
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        os.execvp(command[0], command)
    screen, text, seen, deadline = Screen(), "", None, time.time() + PATIENCE_S
    while time.time() < deadline:
        if not select.select([fd], [], [], 0.2)[0]:
            continue
        try:
            part = os.read(fd, 65536).decode("utf-8", "replace")
        except OSError:
            break
        text += part
        screen.feed(part)
        if seen is None and all(any(word in line for line in screen.lines()) for word in words):
            seen = screen.lines()
            if key.startswith("SIG"):
                os.kill(pid, getattr(signal, key))
            else:
                os.write(fd, {"ctrl-c": "\x03"}.get(key, key).encode())
    else:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    restored = text.rfind("\x1b[?1049l") > text.rfind("\x1b[?1049h") >= 0 and text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")
    print(json.dumps({"status": os.waitstatus_to_exitcode(status), "screen": seen or screen.lines(), "restored": restored}))
    return 0 if seen else 1


sys.exit(main())

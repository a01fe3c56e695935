import { expect, test } from "vitest";
import { hookOf } from "./hook-option.ts";

const standard = "/etc/qemu/fsfreeze-hook";

test.each<[string, readonly string[], string | undefined]>([
  ["Debian's unit", ["qemu-ga"], undefined],
  ["nothing at all", [], undefined],
  ["the default hook", ["qemu-ga", "-F"], standard],
  ["a hook of one's own", ["qemu-ga", "-F/opt/hook"], "/opt/hook"],
  ["behind other letters", ["qemu-ga", "-dvF/opt/hook"], "/opt/hook"],
  ["the long word", ["qemu-ga", "--fsfreeze-hook"], standard],
  ["the long word with a path", ["qemu-ga", "--fsfreeze-hook=/opt/a=b"], "/opt/a=b"],
  ["after others", ["qemu-ga", "-m", "virtio-serial", "-p", "/dev/vport1p1", "-t", "/run", "-F/opt/hook"], "/opt/hook"],
  ["an F that is a value", ["qemu-ga", "-l", "-F"], undefined],
  ["an F in a value", ["qemu-ga", "-lF"], undefined],
  ["an F in a path", ["qemu-ga", "-p/dev/F", "--logfile=/var/log/F"], undefined],
  ["what follows the end of options", ["qemu-ga", "--", "-F"], undefined],
])("%s", (_, words, hook) => {
  expect(hookOf(words.map((word) => `${word}\0`).join(""))).toBe(hook);
});

test("the configuration file may name it; the command line has the last word", () => {
  const configuration = "[general]\nmethod = virtio-serial\nfsfreeze-hook = /opt/configured \n";
  expect(hookOf("qemu-ga\0", configuration)).toBe("/opt/configured");
  expect(hookOf("qemu-ga\0-F\0", configuration)).toBe(standard);
  expect(hookOf("qemu-ga\0", "[general]\n#fsfreeze-hook = /opt/off\n")).toBeUndefined();
});

/** qemu-ga's own when `-F` names none (its QGA_FSFREEZE_HOOK_DEFAULT). */
const DEFAULT_HOOK = "/etc/qemu/fsfreeze-hook";
/** Options of qemu-ga that take a value, as the next word or at once (its main.c). */
const WITH_VALUE = "mplfstba";

/**
 * The freeze hook that qemu-ga was started with, from its command line as /proc gives it and its configuration file;
 * undefined when it runs none. Debian's unit has no `-F`. Pure.
 */
export function hookOf(cmdline: string, configuration = ""): string | undefined {
  const words = cmdline.split("\0").slice(1);
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (word === "--") break;
    const hook = word.startsWith("--") ? longOption(word) : shortOptions(word);
    if (hook !== undefined) return hook;
    if (takesNext(word)) at++;
  }
  return configuredHook(configuration);
}

function longOption(word: string): string | undefined {
  const [name = "", ...value] = word.split("=");
  if (name !== "--fsfreeze-hook") return undefined;
  return value.join("=") || DEFAULT_HOOK;
}

/** -F, -F/path, and both behind other letters: -dvF. */
function shortOptions(word: string): string | undefined {
  const letters = word.startsWith("-") ? word.slice(1) : "";
  for (const [at, letter] of Array.from(letters).entries()) {
    if (letter === "F") return letters.slice(at + 1) || DEFAULT_HOOK;
    if (WITH_VALUE.includes(letter)) return undefined;
  }
  return undefined;
}

/** A short option whose value is the next word: -p /dev/virtio-ports/x. */
function takesNext(word: string): boolean {
  if (!word.startsWith("-") || word.startsWith("--")) return false;
  const letters = Array.from(word.slice(1));
  const first = letters.findIndex((letter) => WITH_VALUE.includes(letter));
  return first >= 0 && first === letters.length - 1;
}

function configuredHook(configuration: string): string | undefined {
  return /^[ \t]*fsfreeze-hook[ \t]*=[ \t]*(\S.*?)[ \t]*$/m.exec(configuration)?.[1];
}

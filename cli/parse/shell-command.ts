/** A text as a shell runs it, in a guest or a container; empty for no command. */
export const parseShellCommand = (text: string): readonly string[] => (text === "" ? [] : ["/bin/sh", "-c", text]);

export const drillCommandHelp = "what a drill runs in a clone to see that it works, by /bin/sh -c";

/** A text as the guest's shell runs it; empty for no command. */
export const parseDrillCommand = (text: string): readonly string[] => (text === "" ? [] : ["/bin/sh", "-c", text]);

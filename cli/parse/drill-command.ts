export const drillCommandHelp = "what a drill runs in a clone to see that it works, by /bin/sh -c";

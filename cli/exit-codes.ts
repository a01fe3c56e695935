/** What the exit code of `stillpoint` says. `vm exec` ends with the code of the program in the guest. */
export const exitCodes = {
  done: 0,
  failed: 1,
  /** The command line was wrong; nothing was asked of the server. */
  usage: 2,
  /** The server could not be reached; whether it knows of the request is open. */
  unreachable: 3,
  /** Ctrl-C. */
  interrupted: 130,
} as const;

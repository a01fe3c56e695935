/** What may be sent to a container: the signals of signal(7) that can mean something to a program. */
const known = [
  ...["SIGHUP", "SIGINT", "SIGQUIT", "SIGABRT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM"],
  ...["SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGWINCH", "SIGURG", "SIGIO", "SIGPWR"],
] as const;

/** The signal by its whole name: "TERM" and "SIGTERM" are one; empty is SIGKILL. Undefined for one that is not known. */
export function signalNamed(text: string): string | undefined {
  const upper = text.toUpperCase();
  const name = upper === "" ? "SIGKILL" : upper.replace(/^(?!SIG)/, "SIG");
  return known.find((signal) => signal === name);
}

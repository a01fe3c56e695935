/** Where the command line prints and reads: the process's own terminal, or a test's. */
export interface Terminal {
  /** What was asked for; goes on to other programs. */
  out(text: string | Uint8Array): void;
  /** What people read meanwhile: progress, errors, questions. */
  err(text: string | Uint8Array): void;
  /** True when a person sits at both ends: lines may be redrawn and questions asked. */
  readonly isInteractive: boolean;
  readonly columns: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** Asks a person; undefined when there is none. */
  ask(question: string): Promise<string | undefined>;
  /** Standard input to its end. */
  readInput(): Promise<Uint8Array>;
}

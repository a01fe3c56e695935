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
  /** Standard input as it comes, until its end or the signal's. */
  liveInput(signal: AbortSignal): AsyncIterable<Uint8Array>;
  /**
   * Gives the terminal to a program elsewhere until it is disposed of: each key goes there as it is typed. `resized` is
   * told each new size. Undefined when input or output is none.
   */
  seize(resized: (size: TerminalSize) => void): SeizedTerminal | undefined;
}

export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

export interface SeizedTerminal extends Disposable {
  readonly size: TerminalSize;
}

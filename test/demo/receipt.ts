/** The parts of a checkpoint's JSON that the demo shows and checks. */
export interface CheckpointJson {
  readonly name: string;
  readonly kind: string;
  readonly consistency: string;
  readonly fellBack?: boolean;
  readonly reason?: string;
  readonly receipt: {
    readonly freeze?: {
      readonly count: number;
      readonly thawCount: number;
      readonly windowMs: number;
      readonly writers: readonly { readonly name: string; readonly state: string; readonly ms: number }[];
    };
    readonly pauseMs?: number;
    readonly verification?: { readonly method: string; readonly result: string };
  };
}

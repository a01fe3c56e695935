import { expect, test } from "vitest";
import { systemClock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { silentLogger } from "#libs/logger";
import { EngineWatch } from "./watch.ts";

test("an engine that does not answer is told in one line, and again when that changes", async () => {
  const away = (why: string) => new StillpointError("ENGINE_UNAVAILABLE", "probing", { cause: new Error(why) });
  const failures = ["no socket", "no socket", "refused", "refused", "no socket"].map(away);
  const asked = Promise.withResolvers<void>();
  const lines: unknown[][] = [];
  const watch = new EngineWatch({
    engine: {
      async probe() {
        const failure = failures.shift();
        if (failure !== undefined) throw failure;
        asked.resolve();
        return await new Promise<never>(() => undefined);
      },
      events: () => Promise.reject(new Error("nobody asks")),
    },
    ...{ onMet: async () => undefined, onEvent: async () => undefined, onLook: async () => undefined },
    lastEvent: () => undefined,
    clock: { ...systemClock, sleep: () => new Promise((resolve) => setImmediate(resolve)) },
    logger: Object.assign(Object.create(silentLogger), { warn: (...line: unknown[]) => lines.push(line) }),
  });
  void watch.start();
  await asked.promise;
  const line = (why: string) => [`there are no containers here for now: probing (${why})`];
  expect(lines).toEqual([line("no socket"), line("refused"), line("no socket")]);
});

import { expect, test } from "vitest";
import type { ExecContainerRequest } from "#contracts/container/v1/container";
import { fakeCluster } from "../testing/fake-cluster.ts";

const name = "projects/default/containers/web";
const bytes = (text: string) => new TextEncoder().encode(text);

test("exec passes input and sizes on, restores the terminal, and ends with the program's exit code", async () => {
  const seen: string[] = [];
  let isRaw = false;
  let resize: (size: { rows: number; columns: number }) => void = () => undefined;
  const resized = Promise.withResolvers<void>();
  const hear = ({ start, resize: size }: ExecContainerRequest) => {
    if (start !== undefined) seen.push(`${start.name} ${start.command.join(" ")} ${start.size?.columns}`);
    if (start !== undefined) resize({ rows: 50, columns: 132 });
    if (size !== undefined) seen.push(`${size.rows}x${size.columns}`);
    if (size !== undefined) resized.resolve();
  };
  await using cluster = await fakeCluster({
    containers: {
      async *execContainer(messages: AsyncIterable<ExecContainerRequest>) {
        for await (const message of messages) {
          hear(message);
          yield { stdout: message.stdin };
          if (message.stdinClosed) break;
        }
        yield { exitCode: 7 };
      },
    },
  });
  const ran = await cluster.run(["container", "exec", "-it", "web", "--", "sh", "-c", "read x"], {
    async *liveInput() {
      await resized.promise;
      yield bytes("typed\n");
    },
    seize(resized) {
      isRaw = true;
      resize = resized;
      return {
        size: { rows: 24, columns: 80 },
        [Symbol.dispose]: () => {
          isRaw = false;
        },
      };
    },
  });
  expect(ran).toEqual({ code: 7, out: "typed\n", err: "" });
  expect(seen).toEqual([`${name} sh -c read x 80`, "50x132"]);
  expect(isRaw).toBe(false);
  expect(await cluster.run(["container", "exec", "-t", "web", "--", "sh"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("there is no terminal here to give it"),
  });
});

test("exec that is not given input ends although standard input goes on, and when it is interrupted", async () => {
  const interrupt = new AbortController();
  await using cluster = await fakeCluster({
    containers: {
      async *execContainer(messages: AsyncIterable<ExecContainerRequest>, { signal }) {
        for await (const { stdinClosed } of messages) if (stdinClosed) break;
        yield { stdout: bytes("begun\n") };
        await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      },
    },
  });
  const out = (text: string | Uint8Array) => {
    expect(Buffer.from(text).toString()).toBe("begun\n");
    interrupt.abort(new DOMException("interrupted", "AbortError"));
  };
  const ran = await cluster.run(["container", "exec", "web", "--", "sleep"], { signal: interrupt.signal, out });
  expect(ran.code).toBe(130);
});

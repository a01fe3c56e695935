import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { startNats, startRedis } from "#libs/testing";

interface Span {
  readonly traceId: string;
  readonly name: string;
}

interface ExportRequest {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly Span[] }[] }[];
}

/** An OTLP/HTTP collector that keeps what it gets. */
async function startCollector() {
  const spans: Span[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString()) as ExportRequest;
      spans.push(...resourceSpans.flatMap((each) => each.scopeSpans.flatMap((scope) => scope.spans)));
      response.end("{}");
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { spans, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => void server.close() };
}

async function runApp(env: Record<string, string>): Promise<{ traceparent: string }> {
  const app = [
    "--import",
    join(import.meta.dirname, "register.ts"),
    join(import.meta.dirname, "testing/traced-app.ts"),
  ];
  const { stdout } = await promisify(execFile)(process.execPath, app, { env: { ...process.env, ...env } });
  return JSON.parse(stdout) as { traceparent: string };
}

test("one trace goes through gRPC, NATS and Redis", async () => {
  await using redis = await startRedis();
  await using nats = await startNats();
  await using collector = await startCollector();
  const { traceparent } = await runApp({
    NATS_URL: nats.url,
    REDIS_URL: redis.url,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
  });
  const traceId = traceparent.split("-")[1];
  const names = collector.spans.filter((span) => span.traceId === traceId).map(({ name }) => name);
  expect(names.filter((name) => name.includes("GetOperation"))).toHaveLength(2);
  expect(names).toContain("process work");
  expect(names).toContain("set");
});

test("off, the same program runs without a span or a traceparent", async () => {
  await using redis = await startRedis();
  await using nats = await startNats();
  expect(await runApp({ NATS_URL: nats.url, REDIS_URL: redis.url })).toEqual({ traceparent: "" });
});

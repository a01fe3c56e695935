import { GrpcInstrumentation } from "@opentelemetry/instrumentation-grpc";
import { IORedisInstrumentation } from "@opentelemetry/instrumentation-ioredis";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { onTelemetryStop } from "./stop.ts";

/** Starts the OpenTelemetry SDK; where spans go is told by the OTEL_* variables of its specification. */
export function startTracing(): void {
  const { env } = process;
  env.OTEL_SERVICE_NAME ??= "stillpoint";
  // Metrics are served to Prometheus and logs written as lines: the SDK sends spans alone.
  env.OTEL_METRICS_EXPORTER ??= "none";
  env.OTEL_LOGS_EXPORTER ??= "none";
  env.OTEL_BSP_SCHEDULE_DELAY ??= "1000";
  const sdk = new NodeSDK({ instrumentations: [new GrpcInstrumentation(), new IORedisInstrumentation()] });
  sdk.start();
  onTelemetryStop(() => sdk.shutdown());
}

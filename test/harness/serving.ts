import { HealthDefinition } from "nice-grpc-server-health";
import { createRpcClient } from "#libs/rpc";

/** Whether a gRPC server answers there and says that it can serve (grpc.health.v1). */
export async function isServing(address: string): Promise<boolean> {
  const health = createRpcClient(HealthDefinition, address);
  try {
    return (await health.check({ service: "" }, { timeoutMs: 1_000 })).status === 1;
  } catch {
    return false;
  } finally {
    health.close();
  }
}

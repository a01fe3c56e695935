import { runService } from "#libs/lifecycle";
import { readRegistryConfig } from "./config.ts";
import { startRegistry } from "./service.ts";

await runService(async (lifecycle) => {
  const { address, httpAddress } = await startRegistry(readRegistryConfig(), lifecycle);
  console.log(`registry listens on ${address} (gRPC) and ${httpAddress} (OCI)`);
});

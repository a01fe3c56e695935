import { runService } from "#libs/lifecycle";
import { readOperationConfig } from "./config.ts";
import { startOperation } from "./service.ts";

await runService(async (lifecycle) => {
  const { address } = await startOperation(readOperationConfig(), lifecycle);
  console.log(`operation listens on ${address}`);
});

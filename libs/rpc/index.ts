export type { CallContext } from "nice-grpc-common";
export type { CallScope } from "./call-scope.ts";
export { callUid } from "./call-uid.ts";
export {
  closeRpcClients,
  createRpcClient,
  type RpcCallOptions,
  type RpcClient,
  type RpcClientOptions,
} from "./client.ts";
export { removedOnce } from "./removed-once.ts";
export { resumeTokenHeader } from "./resumed-watch.ts";
export { RpcServer, type RpcServerOptions } from "./server.ts";

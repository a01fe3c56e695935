export { currentIds, enterIds, type Ids, withIds } from "./ids.ts";
export {
  extractHeaders,
  type HeaderGetter,
  type HeaderSetter,
  injectHeaders,
  traceparent,
  withRemoteParent,
} from "./trace.ts";

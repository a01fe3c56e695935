export { type ErrorRow, errorTable, type Reason } from "./error-table.ts";
export { lacksResources } from "./lacks-resources.ts";
export { isLasting, lasting, tellsLasting } from "./lasting.ts";
export { isStillpointError, StillpointError, type StillpointErrorOptions } from "./stillpoint-error.ts";

export { isStillpointError, StillpointError, type StillpointErrorOptions } from "./stillpoint-error.ts";
export { Code, type ErrorRow, errorTable, type Reason } from "./error-table.ts";

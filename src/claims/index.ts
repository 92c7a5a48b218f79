export {
  ClaimTable,
  DEFAULT_GRACE_MILLISECONDS,
  keyOf,
  nameOf,
  type ClaimChange,
  type ClaimSession,
  type ClaimTableOptions,
  type Decision,
  type Tenure,
} from './claim-table.ts';
export { FlowRouter, repeatEnd, type FlowEnd, type FlowRouterOptions } from './flow-router.ts';

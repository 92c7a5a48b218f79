export { ClaimTable, DEFAULT_GRACE_MILLISECONDS, type ClaimChange, type ClaimSession, type ClaimTableOptions } from './claim-table.ts';
export { FlowRouter, repeatEnd, type FlowEnd, type FlowRouterOptions } from './flow-router.ts';
export { answerClaimRequest } from './requests.ts';

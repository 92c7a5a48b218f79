/** Every kind of object that kpeering reads: its `Resource`, its schema and its type. */
export { configMaps, namespaces, nodes, secrets } from './configuration.ts';
export type { ConfigMap, Namespace, Node, Secret } from './configuration.ts';
export { daemonSets, deployments, jobs, replicaSets, statefulSets } from './controllers.ts';
export type { DaemonSet, Deployment, Job, ReplicaSet, StatefulSet } from './controllers.ts';
export { pods } from './pods.ts';
export type { Container, ContainerPort, ContainerStatus, EnvFromSource, EnvVar, Pod, PodSpec } from './pods.ts';
export type { LabelSelector, Metadata, OwnerReference } from './resource.ts';
export { SERVICE_NAME_LABEL, endpointSlices, serviceCidrs, services } from './services.ts';
export type { EndpointSlice, Service, ServiceCidr, ServicePort } from './services.ts';

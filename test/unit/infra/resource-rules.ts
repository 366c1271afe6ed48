/**
 * What `infra/` may use: the type, the version of its API, and the properties without which Resource Manager refuses it.
 * From the published type definitions (Azure/bicep-types-az), and for role ids from the documents on built-in roles.
 */
export const TYPES: Readonly<
  Record<string, { readonly apiVersion: string; readonly required: readonly string[] }>
> = {
  'Microsoft.Resources/resourceGroups': { apiVersion: '2025-04-01', required: ['location'] },
  'Microsoft.Web/serverfarms': {
    apiVersion: '2024-11-01',
    required: ['location', 'sku', 'reserved'],
  },
  'Microsoft.Web/sites': {
    apiVersion: '2024-11-01',
    required: ['location', 'kind', 'identity', 'serverFarmId', 'functionAppConfig', 'httpsOnly'],
  },
  'Microsoft.Web/sites/config': { apiVersion: '2024-11-01', required: ['parent', 'properties'] },
  'Microsoft.Web/sites/basicPublishingCredentialsPolicies': {
    apiVersion: '2024-11-01',
    required: ['parent', 'allow'],
  },
  'Microsoft.DBforMySQL/flexibleServers': {
    apiVersion: '2024-12-30',
    required: ['location', 'sku', 'identity', 'properties'],
  },
  'Microsoft.DBforMySQL/flexibleServers/administrators': {
    apiVersion: '2024-12-30',
    required: ['administratorType', 'login', 'sid', 'tenantId', 'identityResourceId'],
  },
  'Microsoft.DBforMySQL/flexibleServers/databases': {
    apiVersion: '2024-12-30',
    required: ['charset', 'collation'],
  },
  'Microsoft.DBforMySQL/flexibleServers/firewallRules': {
    apiVersion: '2024-12-30',
    required: ['startIpAddress', 'endIpAddress'],
  },
  'Microsoft.DBforMySQL/flexibleServers/configurations': {
    apiVersion: '2024-12-30',
    required: ['value', 'source'],
  },
  'Microsoft.DurableTask/schedulers': {
    apiVersion: '2026-02-01',
    required: ['location', 'ipAllowlist', 'sku'],
  },
  'Microsoft.DurableTask/schedulers/taskHubs': { apiVersion: '2026-02-01', required: ['parent'] },
  'Microsoft.DurableTask/schedulers/retentionPolicies': {
    apiVersion: '2026-02-01',
    required: ['retentionPolicies'],
  },
  'Microsoft.Storage/storageAccounts': {
    apiVersion: '2025-06-01',
    required: ['location', 'kind', 'sku', 'allowSharedKeyAccess', 'allowBlobPublicAccess'],
  },
  'Microsoft.Storage/storageAccounts/blobServices': { apiVersion: '2025-06-01', required: [] },
  'Microsoft.Storage/storageAccounts/blobServices/containers': {
    apiVersion: '2025-06-01',
    required: ['publicAccess'],
  },
  'Microsoft.Storage/storageAccounts/queueServices': { apiVersion: '2025-06-01', required: [] },
  'Microsoft.Storage/storageAccounts/queueServices/queues': {
    apiVersion: '2025-06-01',
    required: [],
  },
  'Microsoft.Storage/storageAccounts/managementPolicies': {
    apiVersion: '2025-06-01',
    required: ['policy'],
  },
  'Microsoft.ManagedIdentity/userAssignedIdentities': {
    apiVersion: '2024-11-30',
    required: ['location'],
  },
  'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials': {
    apiVersion: '2024-11-30',
    required: ['issuer', 'subject', 'audiences'],
  },
  'Microsoft.Authorization/roleAssignments': {
    apiVersion: '2022-04-01',
    required: ['scope', 'principalId', 'principalType', 'roleDefinitionId'],
  },
  'Microsoft.KeyVault/vaults': {
    apiVersion: '2025-05-01',
    required: ['location', 'tenantId', 'sku', 'enableRbacAuthorization', 'enablePurgeProtection'],
  },
  'Microsoft.KeyVault/vaults/secrets': { apiVersion: '2025-05-01', required: ['value'] },
  'Microsoft.Network/virtualNetworks': {
    apiVersion: '2025-05-01',
    required: ['location', 'addressSpace', 'subnets'],
  },
  'Microsoft.Network/privateEndpoints': {
    apiVersion: '2025-05-01',
    required: ['location', 'subnet', 'privateLinkServiceConnections'],
  },
  'Microsoft.Network/privateEndpoints/privateDnsZoneGroups': {
    apiVersion: '2025-05-01',
    required: ['privateDnsZoneConfigs'],
  },
  'Microsoft.Network/privateDnsZones': { apiVersion: '2024-06-01', required: ['location'] },
  'Microsoft.Network/privateDnsZones/virtualNetworkLinks': {
    apiVersion: '2024-06-01',
    required: ['location', 'registrationEnabled', 'virtualNetwork'],
  },
  'Microsoft.OperationalInsights/workspaces': {
    apiVersion: '2025-07-01',
    required: ['location', 'sku'],
  },
  'Microsoft.Insights/components': {
    apiVersion: '2020-02-02',
    required: ['location', 'kind', 'Application_Type', 'WorkspaceResourceId'],
  },
  'Microsoft.Insights/diagnosticSettings': {
    apiVersion: '2021-05-01-preview',
    required: ['scope', 'workspaceId'],
  },
  'Microsoft.Insights/actionGroups': {
    apiVersion: '2023-01-01',
    required: ['location', 'groupShortName', 'enabled'],
  },
  'Microsoft.Insights/metricAlerts': {
    apiVersion: '2018-03-01',
    // The last two are needed with several scopes.
    required: [
      'location',
      'severity',
      'enabled',
      'scopes',
      'evaluationFrequency',
      'windowSize',
      'criteria',
      'targetResourceType',
      'targetResourceRegion',
    ],
  },
  'Microsoft.Insights/scheduledQueryRules': {
    apiVersion: '2023-12-01',
    required: [
      'location',
      'kind',
      'scopes',
      'severity',
      'evaluationFrequency',
      'windowSize',
      'criteria',
    ],
  },
  'Microsoft.Insights/workbooks': {
    apiVersion: '2023-06-01',
    required: ['location', 'kind', 'category', 'displayName', 'serializedData', 'sourceId'],
  },
};

/** Built-in roles that are given out. */
export const ROLES: Readonly<Record<string, string>> = {
  'b7e6dc6d-f1e8-4753-8033-0f276bb0955b': 'Storage Blob Data Owner',
  'ba92f5b4-2d11-453d-a403-e96b0029c9fe': 'Storage Blob Data Contributor',
  '974c5e8b-45b9-4653-ba55-5f855dd0fb88': 'Storage Queue Data Contributor',
  '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3': 'Storage Table Data Contributor',
  '3913510d-42f4-4e42-8a64-420c390055eb': 'Monitoring Metrics Publisher',
  '0ad04412-c4d5-4796-b79c-f76d14c8d402': 'Durable Task Data Contributor',
  '4633458b-17de-408a-b874-0445c86b69e6': 'Key Vault Secrets User',
};

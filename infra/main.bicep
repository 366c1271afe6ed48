// Shardline on Azure: one Functions app, one storage account, SHARD_COUNT MySQL servers. docs/deploy.md explains it.
targetScope = 'subscription'

@minLength(1)
@maxLength(64)
param environmentName string

@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('Object id of who deploys; azd fills it in.')
param principalId string

@allowed([
  'User'
  'ServicePrincipal'
  'Group'
])
param principalType string = 'User'

@description('dev: burstable servers, public with a firewall. prod: high availability, private endpoints.')
@allowed([
  'dev'
  'prod'
])
param profile string = 'dev'

@description('Positions are the shards\' ids: raise it to add shards, never lower it while the last one owns a bucket.')
@minValue(1)
@maxValue(64)
param shardCount int = 2

param mysqlVersion string = '8.4'

@description('A name of mysql-skus.json; empty for the profile\'s.')
param mysqlSku string = ''

@description('0 for the profile\'s. It grows by itself.')
param mysqlStorageGB int = 0

@description('0 for the SKU\'s default.')
param mysqlMaxConnections int = 0

@description('Disabled, SameZone, ZoneRedundant; empty for the profile\'s.')
param mysqlHighAvailability string = ''

@description('Enabled or Disabled; empty for the profile\'s.')
param mysqlPublicAccess string = ''

@description('Object id of the servers\' Entra administrator, better a group; empty for who deploys.')
param mysqlAdminObjectId string = ''

param mysqlAdminLogin string = 'shardline-admin'

@secure()
@metadata({
  azd: {
    type: 'generate'
    config: {
      length: 32
      noSpecial: true
      minLower: 2
      minUpper: 2
      minNumeric: 2
    }
  }
})
param mysqlAdminPassword string

@description('Password of the app\'s database user, where Entra users cannot be created (docs/deploy.md); empty: the app signs in with Entra.')
@secure()
param appPassword string = ''

@description('Sign-in by Entra alone, once its users are there.')
param mysqlEntraOnly bool = false

@description('Address from which the deployer reaches public servers; empty for none.')
param clientIpAddress string = ''

param nodeVersion string = '22'

@allowed([
  512
  2048
  4096
])
param instanceMemoryMB int = 2048

@description('On-demand instances of each scaling group; 0 for the profile\'s.')
@maxValue(1000)
param maxInstances int = 0

@description('Instances kept ready for HTTP, for Durable and for the orders queue each; -1 for the profile\'s.')
param alwaysReady int = -1

param httpConcurrency int = 16

@description('0 for the profile\'s.')
param shardPoolSize int = 0

@description('0 for the profile\'s.')
param shardBatchPoolSize int = 0

@minValue(1)
@maxValue(100)
param connectionSharePercent int = 80

@description('Where orchestrations are kept.')
@allowed([
  'storage'
  'dts-consumption'
  'dts-dedicated'
])
param durableBackend string = 'storage'

param taskSchedulerCapacity int = 1
param maintenanceSchedule string = '0 0 2 * * *'

@description('Who is told of alerts; empty for nobody.')
param alertEmail string = ''

@description('OWNER/NAME whose GitHub environment may sign in as the migrator; empty for none.')
param githubRepository string = ''

var abbreviations = loadJsonContent('abbreviations.json')
var mysqlSkus = loadJsonContent('mysql-skus.json')
var functions = loadJsonContent('functions.json')
var profiles = {
  dev: {
    mysqlSku: 'Standard_B1ms'
    storageGB: 20
    highAvailability: 'Disabled'
    backupDays: 7
    geoBackup: false
    maxInstances: 5
    alwaysReady: 0
    poolSize: 4
    batchPoolSize: 1
    private: false
    logDays: 30
    logQuotaGB: 1
  }
  prod: {
    mysqlSku: 'Standard_D4ads_v5'
    storageGB: 128
    highAvailability: 'ZoneRedundant'
    backupDays: 35
    geoBackup: true
    maxInstances: 20
    alwaysReady: 2
    poolSize: 8
    batchPoolSize: 2
    private: true
    logDays: 90
    logQuotaGB: -1
  }
}
var chosen = profiles[profile]
var skuName = empty(mysqlSku) ? chosen.mysqlSku : mysqlSku
var sku = mysqlSkus[skuName]
var maxConnections = mysqlMaxConnections == 0 ? sku.defaultConnections : mysqlMaxConnections
var instances = maxInstances == 0 ? chosen.maxInstances : maxInstances
var ready = alwaysReady == -1 ? chosen.alwaysReady : alwaysReady
var poolSize = shardPoolSize == 0 ? chosen.poolSize : shardPoolSize
var batchPoolSize = shardBatchPoolSize == 0 ? chosen.batchPoolSize : shardBatchPoolSize
var publicAccess = empty(mysqlPublicAccess) ? (chosen.private ? 'Disabled' : 'Enabled') : mysqlPublicAccess
var adminObjectId = empty(mysqlAdminObjectId) ? principalId : mysqlAdminObjectId
var adminType = empty(mysqlAdminObjectId) || mysqlAdminObjectId == principalId ? principalType : 'Group'
var useTaskScheduler = durableBackend != 'storage'
// All HTTP functions scale together, so do all durable ones; each queue function scales alone. Timers run on one instance.
var scalingGroups = 2 + length(functions.queues)
var readyNames = [
  'http'
  'durable'
  'function:orders-queue'
]
var extraInstances = ready * length(readyNames) + length(functions.timers)

var resourceToken = toLower(uniqueString(subscription().id, environmentName, location))
var tags = {
  'azd-env-name': environmentName
}
var database = 'shardline'
var appUser = 'shardline-app'
// Known before a server is there, so that the app's settings need not wait for what each server answers.
var mysqlSuffixes = {
  AzureCloud: 'mysql.database.azure.com'
  AzureUSGovernment: 'mysql.database.usgovcloudapi.net'
  AzureChinaCloud: 'mysql.database.chinacloudapi.cn'
}
var mysqlSuffix = mysqlSuffixes[environment().name]
var serverNames = [for i in range(0, shardCount): '${abbreviations.mysqlServer}${resourceToken}-${padLeft(string(i), 2, '0')}']
var shardSettings = [for i in range(0, shardCount): {
  name: 'shard-${i}'
  host: '${abbreviations.mysqlServer}${resourceToken}-${padLeft(string(i), 2, '0')}.${mysqlSuffix}'
  user: appUser
  database: database
  auth: 'entra'
  ssl: 'required'
}]
var appByPassword = !empty(appPassword)
var shardSettingsByPassword = [for i in range(0, shardCount): union(shardSettings[i], {
  auth: 'password'
  password: appPassword
})]
// 0.0.0.0 lets every service of Azure knock, of other customers too; in prod the app comes by private endpoint.
var firewallRules = concat(chosen.private ? [] : [
  {
    name: 'azure-services'
    start: '0.0.0.0'
    end: '0.0.0.0'
  }
], empty(clientIpAddress) ? [] : [
  {
    name: 'client'
    start: clientIpAddress
    end: clientIpAddress
  }
])
var mysqlParameters = [
  {
    name: 'max_connections'
    value: string(maxConnections)
  }
  {
    name: 'require_secure_transport'
    value: 'ON'
  }
  {
    name: 'log_output'
    value: 'FILE'
  }
  {
    name: 'slow_query_log'
    value: 'ON'
  }
  {
    name: 'long_query_time'
    value: '1'
  }
  {
    name: 'aad_auth_only'
    value: mysqlEntraOnly ? 'ON' : 'OFF'
  }
]

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: '${abbreviations.resourceGroup}${environmentName}'
  location: location
  tags: tags
}

module budget 'app/budget.bicep' = {
  name: 'connection-budget'
  scope: group
  params: {
    scalingGroups: scalingGroups
    maxInstances: instances
    extraInstances: extraInstances
    connectionsPerInstance: poolSize + batchPoolSize
    maxConnections: maxConnections
    sharePercent: connectionSharePercent
  }
}

module identities 'app/identities.bicep' = {
  name: 'identities'
  scope: group
  params: {
    location: location
    tags: tags
    prefix: abbreviations.identity
    resourceToken: resourceToken
    githubRepository: githubRepository
    githubEnvironment: profile
  }
  dependsOn: [
    budget
  ]
}

module monitoring 'app/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceName: '${abbreviations.logAnalytics}${resourceToken}'
    insightsName: '${abbreviations.insights}${resourceToken}'
    retentionDays: chosen.logDays
    dailyQuotaGB: chosen.logQuotaGB
    appPrincipalId: identities.outputs.appPrincipalId
  }
}

module network 'app/network.bicep' = if (chosen.private) {
  name: 'network'
  scope: group
  params: {
    location: location
    tags: tags
    name: '${abbreviations.virtualNetwork}${resourceToken}'
    withTaskScheduler: useTaskScheduler
  }
}

module storage 'app/storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    location: location
    tags: tags
    name: '${abbreviations.storageAccount}${resourceToken}'
    zoneRedundant: profile == 'prod'
    endpointSubnetId: chosen.private ? network.outputs.endpointSubnetId : ''
    blobZoneId: chosen.private ? network.outputs.blobZoneId : ''
    queueZoneId: chosen.private ? network.outputs.queueZoneId : ''
    tableZoneId: chosen.private ? network.outputs.tableZoneId : ''
    workspaceId: monitoring.outputs.workspaceId
    appPrincipalId: identities.outputs.appPrincipalId
    deployerPrincipalId: principalId
    deployerPrincipalType: principalType
    grantDeployer: profile == 'dev'
    batchRetentionDays: 35
    reportRetentionDays: 90
  }
}

module vault 'app/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    location: location
    tags: tags
    name: '${abbreviations.keyVault}${resourceToken}'
    breakGlassPrincipalId: adminObjectId
    breakGlassPrincipalType: adminType
    appPrincipalId: identities.outputs.appPrincipalId
    shardsSecret: appByPassword ? string(shardSettingsByPassword) : ''
    mysqlAdminPassword: mysqlAdminPassword
    endpointSubnetId: chosen.private ? network.outputs.endpointSubnetId : ''
    zoneId: chosen.private ? network.outputs.vaultZoneId : ''
  }
  dependsOn: [
    budget
  ]
}

module shards 'app/shard.bicep' = [for i in range(0, shardCount): {
  name: 'shard-${i}'
  scope: group
  params: {
    location: location
    tags: tags
    name: serverNames[i]
    index: i
    version: mysqlVersion
    sku: {
      name: skuName
      tier: sku.tier
    }
    identityId: identities.outputs.serverId
    administratorLogin: 'breakglass'
    administratorPassword: mysqlAdminPassword
    storageGB: mysqlStorageGB == 0 ? chosen.storageGB : mysqlStorageGB
    backupRetentionDays: chosen.backupDays
    geoRedundantBackup: chosen.geoBackup
    highAvailability: empty(mysqlHighAvailability) ? chosen.highAvailability : mysqlHighAvailability
    publicNetworkAccess: publicAccess
    withMaintenanceWindow: profile == 'prod'
    database: database
    entraAdminLogin: mysqlAdminLogin
    entraAdminObjectId: adminObjectId
    tenantId: tenant().tenantId
    firewallRules: firewallRules
    parameters: mysqlParameters
    workspaceId: monitoring.outputs.workspaceId
    endpointSubnetId: chosen.private ? network.outputs.endpointSubnetId : ''
    zoneId: chosen.private ? network.outputs.mysqlZoneId : ''
  }
}]

module taskScheduler 'app/task-scheduler.bicep' = if (useTaskScheduler) {
  name: 'task-scheduler'
  scope: group
  params: {
    location: location
    tags: tags
    name: '${abbreviations.taskScheduler}${resourceToken}'
    hubName: 'Shardline'
    skuName: durableBackend == 'dts-dedicated' ? 'Dedicated' : 'Consumption'
    capacity: taskSchedulerCapacity
    retentionDays: 30
    appPrincipalId: identities.outputs.appPrincipalId
    endpointSubnetId: chosen.private ? network.outputs.endpointSubnetId : ''
    zoneId: chosen.private ? network.outputs.taskSchedulerZoneId : ''
  }
}

module app 'app/function-app.bicep' = {
  name: 'function-app'
  scope: group
  params: {
    location: location
    tags: tags
    planName: '${abbreviations.functionPlan}${resourceToken}'
    appName: '${abbreviations.functionApp}${resourceToken}'
    nodeVersion: nodeVersion
    instanceMemoryMB: instanceMemoryMB
    maxInstances: instances
    alwaysReady: [for name in (ready == 0 ? [] : readyNames): {
      name: name
      instanceCount: ready
    }]
    httpConcurrency: httpConcurrency
    zoneRedundant: profile == 'prod'
    identityId: identities.outputs.appId
    packageContainerUrl: storage.outputs.packageContainerUrl
    subnetId: chosen.private ? network.outputs.appSubnetId : ''
    settings: union({
      AzureWebJobsStorage__blobServiceUri: storage.outputs.blobEndpoint
      AzureWebJobsStorage__queueServiceUri: storage.outputs.queueEndpoint
      AzureWebJobsStorage__tableServiceUri: storage.outputs.tableEndpoint
      AzureWebJobsStorage__credential: 'managedidentity'
      AzureWebJobsStorage__clientId: identities.outputs.appClientId
      AZURE_CLIENT_ID: identities.outputs.appClientId
      APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identities.outputs.appClientId};Authorization=AAD'
      SHARDS: appByPassword ? '@Microsoft.KeyVault(SecretUri=${vault.outputs.shardsSecretUri})' : string(shardSettings)
      MAINTENANCE_SCHEDULE: maintenanceSchedule
      LOG_LEVEL: 'info'
      SHARD_POOL_SIZE: string(poolSize)
      SHARD_BATCH_POOL_SIZE: string(batchPoolSize)
      MAX_INSTANCES: string(instances)
      SCALING_GROUPS: string(scalingGroups)
      EXTRA_INSTANCES: string(extraInstances)
      CONNECTION_SHARE_PERCENT: string(connectionSharePercent)
      MIGRATE_ON_START: 'false'
    }, useTaskScheduler ? {
      // Lies over host.json: the backend changes without another build.
      AzureFunctionsJobHost__extensions__durableTask__storageProvider__type: 'azureManaged'
      AzureFunctionsJobHost__extensions__durableTask__storageProvider__connectionStringName: 'DTS_CONNECTION_STRING'
      DTS_CONNECTION_STRING: 'Endpoint=${taskScheduler.outputs.endpoint};Authentication=ManagedIdentity;ClientID=${identities.outputs.appClientId}'
    } : {})
  }
  dependsOn: [
    shards
  ]
}

module alerts 'app/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    actionGroupName: '${abbreviations.actionGroup}${resourceToken}'
    email: alertEmail
    workspaceId: monitoring.outputs.workspaceId
    serverIds: [for i in range(0, shardCount): shards[i].outputs.id]
    maxConnections: maxConnections
  }
}

output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output PROFILE string = profile
output SERVICE_API_NAME string = app.outputs.name
output SERVICE_API_URI string = app.outputs.uri
output SHARD_COUNT int = shardCount
output SHARDS string = string(shardSettings)
output MYSQL_SERVER_NAMES array = serverNames
output MYSQL_SERVER_FQDNS array = [for i in range(0, shardCount): shards[i].outputs.fqdn]
output MYSQL_DATABASE string = database
output MYSQL_PUBLIC_ACCESS string = publicAccess
output MYSQL_ADMIN_LOGIN string = mysqlAdminLogin
output MYSQL_APP_USER string = appUser
output MYSQL_MIGRATOR_USER string = 'shardline-migrator'
output APP_IDENTITY_NAME string = identities.outputs.appName
output APP_IDENTITY_CLIENT_ID string = identities.outputs.appClientId
output MIGRATOR_IDENTITY_NAME string = identities.outputs.migratorName
output MIGRATOR_IDENTITY_CLIENT_ID string = identities.outputs.migratorClientId
output STORAGE_ACCOUNT_NAME string = storage.outputs.name
output KEY_VAULT_NAME string = vault.outputs.name
output APPLICATIONINSIGHTS_NAME string = monitoring.outputs.insightsName
output LOG_ANALYTICS_WORKSPACE_ID string = monitoring.outputs.workspaceId
output DURABLE_BACKEND string = durableBackend
output CONNECTIONS_PER_SHARD int = budget.outputs.connectionsPerShard

import ArgumentParser
import Glibc

struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a commented definition to start from.",
        discussion: "Templates: " + Template.allCases.map(\.rawValue).joined(separator: ", ") + ".")

    @Argument(help: "Which one.")
    var template: Template = .quickstart

    @Option(
        name: [.short, .long], help: "Write to this file, which must not exist, instead of standard output.")
    var output: String?

    enum Template: String, ExpressibleByArgument, CaseIterable {
        case quickstart
        case configSync = "config-sync"
        case serviceRegistry = "service-registry"
        case clusterMembership = "cluster-membership"
        case auditStream = "audit-stream"
        case curatorDiscovery = "curator-discovery"
        case kafkaRegistrations = "kafka-registrations"
        case solrCollections = "solr-collections"
        case clickhouseReplicas = "clickhouse-replicas"
        case dubboProviders = "dubbo-providers"
        case hbaseServers = "hbase-servers"
        case springConfig = "spring-config"

        var bytes: [UInt8] {
            switch self {
            case .quickstart: PackageResources.quickstart_yaml
            case .configSync: PackageResources.config_sync_yaml
            case .serviceRegistry: PackageResources.service_registry_yaml
            case .clusterMembership: PackageResources.cluster_membership_yaml
            case .auditStream: PackageResources.audit_stream_yaml
            case .curatorDiscovery: PackageResources.curator_discovery_yaml
            case .kafkaRegistrations: PackageResources.kafka_registrations_yaml
            case .solrCollections: PackageResources.solr_collections_yaml
            case .clickhouseReplicas: PackageResources.clickhouse_replicas_yaml
            case .dubboProviders: PackageResources.dubbo_providers_yaml
            case .hbaseServers: PackageResources.hbase_servers_yaml
            case .springConfig: PackageResources.spring_config_yaml
            }
        }
    }

    func run() async throws {
        let text = String(decoding: template.bytes, as: UTF8.self)
        guard let output else {
            print(text, terminator: "")
            return
        }
        guard let file = fopen(output, "wx") else {
            complain("millrace: \(output): \(String(cString: strerror(errno)))")
            throw ExitCode.unavailable
        }
        let isWritten = fputs(text, file) >= 0
        guard fclose(file) == 0, isWritten else {
            complain("millrace: \(output): \(String(cString: strerror(errno)))")
            throw ExitCode.unavailable
        }
        complain("\(output) written; edit it, then: millrace validate \(output)")
    }
}

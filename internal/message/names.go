package message

import (
	"fmt"
	"strings"
)

// Prefixes and names of topics that RocketMQ gives a meaning.
const (
	// RetryPrefix begins the retry topic of a consumer group.
	RetryPrefix = "%RETRY%"
	// DLQPrefix begins the dead letter topic of a consumer group.
	DLQPrefix = "%DLQ%"
	// SystemPrefix begins the names of internal topics.
	SystemPrefix = "rmq_sys_"
	// ReplySuffix ends the reply topic of a cluster.
	ReplySuffix = "REPLY_TOPIC"

	// TopicAutoCreate is the template of topics created by sending to them.
	TopicAutoCreate = "TBW102"
	// TopicSchedule holds delayed messages in Apache RocketMQ.
	TopicSchedule = "SCHEDULE_TOPIC_XXXX"
	// TopicBenchmark is used by RocketMQ's benchmarks.
	TopicBenchmark = "BenchmarkTest"
	// TopicTransHalf holds half messages in Apache RocketMQ.
	TopicTransHalf = "RMQ_SYS_TRANS_HALF_TOPIC"
	// TopicTransOpHalf holds the outcome of half messages in Apache RocketMQ.
	TopicTransOpHalf = "RMQ_SYS_TRANS_OP_HALF_TOPIC"
	// TopicTransCheckMaxTime holds half messages that were checked too often.
	TopicTransCheckMaxTime = "TRANS_CHECK_MAX_TIME_TOPIC"
	// TopicTrace holds the traces of clients.
	TopicTrace = "RMQ_SYS_TRACE_TOPIC"
	// TopicSelfTest is reserved.
	TopicSelfTest = "SELF_TEST_TOPIC"
	// TopicOffsetMoved is reserved.
	TopicOffsetMoved = "OFFSET_MOVED_EVENT"
	// TopicCheckpoint is reserved.
	TopicCheckpoint = "CHECKPOINT_TOPIC"
)

// Limits of names, in bytes.
const (
	// MaxTopicName is the longest name of an ordinary topic.
	MaxTopicName = 127
	// MaxRetryTopicName is the longest name of a retry or dead letter topic.
	MaxRetryTopicName = 255
	// MaxGroupName is the longest name of a group.
	MaxGroupName = 120
)

// RetryTopic returns the name of a group's retry topic.
func RetryTopic(group string) string { return RetryPrefix + group }

// DLQTopic returns the name of a group's dead letter topic.
func DLQTopic(group string) string { return DLQPrefix + group }

// ReplyTopic returns the name of a cluster's reply topic.
func ReplyTopic(cluster string) string { return cluster + "_" + ReplySuffix }

// IsRetryTopic reports whether a topic is a group's retry topic.
func IsRetryTopic(topic string) bool { return strings.HasPrefix(topic, RetryPrefix) }

// IsDLQTopic reports whether a topic is a group's dead letter topic.
func IsDLQTopic(topic string) bool { return strings.HasPrefix(topic, DLQPrefix) }

// GroupOfRetryTopic returns the group of a retry or dead letter topic.
func GroupOfRetryTopic(topic string) (group string, ok bool) {
	if g, found := strings.CutPrefix(topic, RetryPrefix); found {
		return g, true
	}
	return strings.CutPrefix(topic, DLQPrefix)
}

// IsSystemTopic reports whether RocketMQ reserves a topic's name.
func IsSystemTopic(topic string) bool {
	switch topic {
	case TopicAutoCreate, TopicSchedule, TopicBenchmark, TopicTransHalf, TopicTransOpHalf,
		TopicTransCheckMaxTime, TopicTrace, TopicSelfTest, TopicOffsetMoved, TopicCheckpoint:
		return true
	}
	return strings.HasPrefix(topic, SystemPrefix)
}

// IsForbiddenSendTopic reports whether clients may not send to a topic.
func IsForbiddenSendTopic(topic string) bool {
	switch topic {
	case TopicSchedule, TopicTransHalf, TopicTransOpHalf, TopicTransCheckMaxTime, TopicSelfTest, TopicOffsetMoved:
		return true
	}
	return false
}

// ValidateTopic reports ErrInvalidName if a topic's name is empty, too long, or
// has a character other than letters, digits, '%', '|', '_' and '-'.
func ValidateTopic(topic string) error {
	limit := MaxTopicName
	if IsRetryTopic(topic) || IsDLQTopic(topic) {
		limit = MaxRetryTopicName
	}
	return validateName("topic", topic, limit)
}

// ValidateGroup reports ErrInvalidName if a group's name breaks the rules of
// ValidateTopic or is longer than MaxGroupName.
func ValidateGroup(group string) error { return validateName("group", group, MaxGroupName) }

func validateName(kind, name string, limit int) error {
	if name == "" {
		return fmt.Errorf("%s: empty: %w", kind, ErrInvalidName)
	}
	if len(name) > limit {
		return fmt.Errorf("%s: %d bytes, limit %d: %w", kind, len(name), limit, ErrInvalidName)
	}
	for i := range len(name) {
		if !nameByte(name[i]) {
			return fmt.Errorf("%s %q: character %d: %w", kind, name, i, ErrInvalidName)
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '%' || c == '|' || c == '_' || c == '-'
}
